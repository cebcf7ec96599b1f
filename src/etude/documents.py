"""How long texts are cut into documents."""
