"""The lessons as slides: marks in the notebooks' metadata, and reveal.js decks built from them."""
