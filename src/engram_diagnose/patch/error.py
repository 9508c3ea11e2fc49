"""What can go wrong with a patch; each message says what, where, and what to do next."""


class ConfigurationError(ValueError):
    """A configuration that cannot be read, or cannot be edited as asked; nothing was changed."""


class PatchError(ValueError):
    """A text that is no patch, a patch that is damaged or out of date, or one made for another text."""


class CannotApplyError(ValueError):
    """The configuration on disk could not be replaced; the message says what stands there now."""


class NothingToRollBackError(CannotApplyError):
    """No patch is in effect that could be taken back."""
