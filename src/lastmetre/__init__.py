"""lastmetre: deliver a GBCS Command to a smart meter by whichever road reaches it, and prove what happened."""

__version__ = "0.1.0"
