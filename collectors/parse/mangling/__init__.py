"""The schemes by which rustc mangles names, each in a module of its own; `parse.demangle` tells them apart."""
