"""What training code may import: `pl.Trainer(**headway.lightning.kit())`. Light until it is called."""

from headway.lightning.kit import kit

__all__ = ["kit"]
