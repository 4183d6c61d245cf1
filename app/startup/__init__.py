"""What is looked at before the gateway starts, and by `config check`: the settings, the database, the address."""
