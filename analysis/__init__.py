"""Reads run folders by the contract in `sed_model.run_folder`: checked tables, then numbers, then pictures."""

import sed_model as sed_model  # looks whether this Python has the packages
