"""Instruments other packages; each module here needs the package that it is named after."""

__all__: list[str] = []
