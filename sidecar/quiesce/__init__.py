"""Takes containers down in order, journalled, and always brings them back.

Face: ``selection`` (plan), ``quiescer`` (Quiescer), ``journal`` (Journal), ``recovery`` (recover).
"""
