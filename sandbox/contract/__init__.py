"""What every connector, ours or another's, must hold offline against its twin; its grade is computed here."""
