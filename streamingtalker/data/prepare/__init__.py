"""VOCASET and BIWI as corpora of ours: ``python -m streamingtalker.data.prepare vocaset|biwi --raw DIR --out DIR``."""
