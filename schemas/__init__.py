"""Records, codecs, topic names and settings: the contracts every other folder speaks."""
