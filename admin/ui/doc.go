// Package ui holds the page that admind serves: HTML, style sheets, modules of plain JavaScript, and the two small libraries that
// they use. It owns what is seen; it never talks to a daemon, and knows of admind only its views, streams and acts under api/.
//
// Nothing is built: what lies in static/ is what the browser gets. index.html stands for every page; js/main.js reads the address
// and shows the page of that name in js/pages/. Pages are made of js/parts/ (table, chart, dialog, search, ...), which know how things look,
// and of js/lib/ (live, history, api, router, format, ...), which know where things come from. Imports go down only: pages, parts, lib.
//
//	live.js      one stream of server-sent events per page: the newest body of a view, and the changes of the list of topics
//	history.js   series for charts and sparklines, asked for when they are in sight
//	api.js       asking and acting, with the token against cross-site requests
//	table.js     rows are built only while they are in sight, so that a list may have any length
//
// No script or style is inline, so that a Content-Security-Policy of default-src 'self' holds. Every address is made from the base path that
// stands in index.html. All colours are in css/base.css, once for light and once for dark. vendor/README.md says what is not our own.
package ui
