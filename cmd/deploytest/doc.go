// Package deploytest holds what is in deploy/ to what it promises: units, the Debian package's whole life, container files, and the chart with
// its manifests. It has tests only, black-box ones, which use the tools that others keep for these files, from PATH; a test whose tool is
// missing says NOT RUN and which one it is. make deploy-test brings all of them.
package deploytest
