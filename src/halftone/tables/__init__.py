"""Tables on their way in: read, typed, described, and compared with what was declared of them.

This module loads nothing heavy: ``errors`` and ``declared`` need the contracts alone, the others need Arrow and belong in a worker.
"""
