"""The one exception of the command: something the user can put right."""


class UserError(ValueError):
    """A wrong option, text or file; the command prints its message as one line and exits with 1."""
