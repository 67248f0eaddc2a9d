"""Gates: each measures one promise about an artefact and says pass, fail or unavailable.

A gate returns a :class:`runtime.artefact.GateResult` and never raises for a broken model: a
promise that is not kept is a result, not an error.
"""
