"""What only notebooks need: statistics, tables and experiments that say what synthetic data are worth."""  # noqa: E501
