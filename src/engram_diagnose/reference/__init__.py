"""The reference: rules, facts and settings described from the rule base, for a terminal and as pages."""
