// Package report shows the results of runs of spate bench: as one HTML file that needs nothing besides itself, with
// plots and tables, and as the figures that a table on a terminal compares. Several results in one report lie over each
// other. It measures nothing, knows no broker and reads no file: it gets results and writes to what it is given.
package report
