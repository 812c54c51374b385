"""The report: one HTML page that shows the results of a run and how reliable they are."""
