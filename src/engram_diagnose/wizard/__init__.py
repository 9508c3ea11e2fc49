"""The wizard: it asks what cannot be detected, explains every value it proposes, and changes nothing by itself."""
