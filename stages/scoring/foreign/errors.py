"""The one error of foreign input."""


class ForeignInputError(ValueError):
    """A file of others cannot be used; the message is one line that names the file or the image id."""
