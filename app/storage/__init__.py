"""What the gateway keeps: tables, one module per thing kept, and Postgres itself where there is none."""
