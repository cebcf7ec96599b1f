"""The import root of plugins: shipped ones, installed ones, `$ETUDE_PLUGINS` and `./plugins`."""
