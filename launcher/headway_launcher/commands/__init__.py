"""The commands, a few a module; each reads its words, calls `headway`, and prints."""
