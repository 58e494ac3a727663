"""What only notebooks need: statistics, tables and experiments that say what data are worth."""
