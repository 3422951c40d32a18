// Package figures turns results of loads into figures that can be put side by side: named numbers, their medians over
// rounds, ratios, and how they are written.
//
// It measures nothing and prints nothing.
package figures
