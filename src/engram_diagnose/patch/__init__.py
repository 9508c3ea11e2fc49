"""Changing the server's configuration: the edited text, the patch file, and the way onto the disk and back."""
