-- A log that made room: its lines are gone, its end stays and says so.
ALTER TABLE log_ends ADD COLUMN forgotten_at_us INTEGER;

-- Whose turn it is to make room: of the whole logs that still have lines the oldest attempt first.
CREATE INDEX log_ends_kept ON log_ends (attempt_id) WHERE forgotten_at_us IS NULL AND line_count > 0;
