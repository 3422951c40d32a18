// Package browser holds no code, only tests of admind's page in a real browser: headless Chromium, driven through every page and
// every act against real daemons, and against made-up ones for states that are hard to bring about and names that no broker takes.
//
// It owns what can only be seen there: that each page shows what the cluster is, that acts do what they say and ask first, that a node which is
// killed is shown as such, that the page can be used by keyboard and by those who do not see it (axe-core finds nothing), that nothing is
// written to the console, and that it is fast. It never imports a daemon's code.
//
// Where there is no Chromium the tests are skipped and say so; make test installs it where it can. With ADMIN_PICTURES=1
// pictures of each page, in each state, at each width, light and dark, are left in bin/screenshots.
//
// With ADMIN_MEASURE=1 the figures promised for speed are demanded; otherwise, as other tests may share the machine, they are only told, and no
// test asserts a duration by the clock.
package browser
