"""The nouns of Headway: pure values, no I/O, nothing of Google's."""
