"""One module a topic; each has `measure(folder)`, which yields its figures and may write below `folder` alone."""
