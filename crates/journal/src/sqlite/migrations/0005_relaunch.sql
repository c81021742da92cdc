-- How to go on with a job of which nothing has started when its process has ended. NULL: it is over.

ALTER TABLE jobs ADD COLUMN relaunch TEXT;
