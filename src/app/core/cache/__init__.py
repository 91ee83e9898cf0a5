"""The cache of responses: `@cache` (`app.core.utils.cache`) serves and fills on GET, and invalidates on other methods.

What is guaranteed: a client that received the response to its own write reads nothing older afterwards, from any
process. And a read that overlaps a write never puts the old state back. How:

- **Drops** (`entries`). Each entry carries the generation of its family, which is the part of its key before the first
  colon, and of the whole cache: random names in Redis. Dropping `FAMILY:*` deletes one name, however many entries
  carry it; they never match again, and expire. A single key is deleted itself. Other patterns (`FAMILY:a*`,
  `*_posts:*`) are noted with the generation, and entries that are older than the note are compared with it.
- **Writes** (`writes`). Before a write begins, it is announced in Redis and drops its targets. Until it ends nothing
  below its targets is filled. After its commit it drops them again, and only then the caller gets its response. If a
  process is killed between commit and end, its announcement remains. A process repeats its announcements for as long as
  it runs, and they outlive its last repetition by more than the database's `statement_timeout`: every change that can
  be committed is covered by one.
- **Fills** (`scripts`). A miss takes a lock, which names the generations of that moment, and stores its result only if
  the lock is still its own and the generations are still those. So a read that overlaps a write stores nothing. Others
  wait for the holder at most two seconds. A lock of earlier generations delays no request.
- **Outages** (`epoch`). Each entry also carries an epoch, a number in PostgreSQL. A write that Redis has not confirmed
  moves the epoch after its commit, and the caller gets its response when no process can still rely on the former one.
  So this holds for every process, also in a partitioned network. After an outage of Redis with such a write all entries
  are discarded; after any other one they remain valid. A restart of PostgreSQL and a failover discard them, too.
- **Lost replies**. A command whose reply was lost may be carried out later, or twice. Then a drop drops too much, an
  announcement binds its own epoch only, and a fill needs its lock, its generations and its epoch.
- **Cluster** (`buckets`). Each family is in one of several buckets, whose keys share a slot.
- **Failover** (`store`, `scripts`). With Sentinel or in a Cluster an entry's epoch names the primary's history too. A
  promoted replica has another one, so what it has is discarded: it may lack invalidations that were confirmed before.

An entry lives exactly `expiration` seconds. The number of entries is bounded by that and by Redis: responses of more
than 1 MiB and pages without items are not stored, so that invented page numbers add nothing, and a Redis with
`maxmemory` may evict any key. An entry without its generations is not served. A full Redis that evicts nothing
stores nothing more, and still drops.

A hit needs one reply of Redis and nothing else: no connection to PostgreSQL, no dependency (`lane`), no validation. A
process whose lease of the epoch has expired serves nothing from the cache, so neither a full pool nor an outage of
PostgreSQL leaves an old epoch in force. `RedisConnection` judges Redis by Redis alone: congestion in this process is no
outage. Endpoints run without the cache while Redis is unavailable.

What is not covered: changes that bypass the endpoints (SQL, scripts) are seen when entries expire. A Redis that is
restored with earlier data contains entries that were invalidated since: run it without snapshots, and without a replica
that may be promoted by other means than Sentinel or a Cluster. Two primaries at the same time, while a former one is
cut off from the Sentinels, are not covered. If an announcement is lost (Redis restarts empty, or evicts it) and its
writer is killed between commit and end, entries that were read in between are served until they expire. An unlimited
`statement_timeout` counts as one hour.
"""
