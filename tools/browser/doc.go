// Package browser opens what Spate writes for browsers in Debian's chromium, without a window and without a network,
// and looks at what is really drawn. Its tests install chromium where it is missing. With -artifacts -outputdir DIR the
// screenshots stay.
package browser
