"""What sordino ships to: artefact formats and devices, their schema and the fit verdict."""
