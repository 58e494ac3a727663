"""What lies in an archive of magnitude images: series found, set aside with reasons, patients as pseudonyms."""
