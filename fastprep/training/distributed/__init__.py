"""Training by several processes: `rendezvous` connects them, `collectives` exchanges numbers, `sync` keeps their models equal."""
