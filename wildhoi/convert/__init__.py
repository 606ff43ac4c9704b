"""Convert raw releases into the data folder that everything else reads."""
