"""The error for input of other programs."""


class ForeignInputError(ValueError):
    """A file of another program cannot be used; the message is one line that names the file or the image id."""
