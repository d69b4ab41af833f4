-- Who served a caller before: asked for each call while it is being greeted, by queues that prefer somebody.
CREATE INDEX calls_by_caller ON calls (site, caller, offered) WHERE agent IS NOT NULL;
CREATE INDEX orders_by_caller ON orders (site, caller, opened) WHERE agent IS NOT NULL;
