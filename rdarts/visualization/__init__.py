"""Pictures of genotypes and searches, and the report."""
