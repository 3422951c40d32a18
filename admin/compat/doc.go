// Package compat is the JSON that nsqadmin 1.3.0 answers with: shapes, and how brokers' own figures are added up into them.
//
// It owns keys, their order, and when one is left out or null. It is pure: httpd asks the brokers and hands over what they say.
// Where nsqadmin is wrong it is not followed: what stands for one node is that node's own, a sum names each node that it is of,
// minima are minima, and lists are empty rather than null.
package compat
