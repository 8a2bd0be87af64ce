"""What runs on the Redis server for a batch: rows, marks of threads and communities, answers.

Every mark is stamped with the server's time when it is first written, and what is asked for is
asked for as of a time. So an answer is the same whenever it is given: what a redelivered upload,
or a job that reads its stream again, finds is what was found at first, however late either runs.

- `thread:{thread}`: a sorted set of SHA-1 prefixes of content ids (a mark twice is one mark);
  scores are stamp * 1024 + toxicity in thousandths. At most `CALM` + `HOT` - `CALM` of a slot
  of ten seconds: harmless posts, however many, leave room for hostile ones.
- `context:{content}`: `stamp:toxicity:revision,` of a content and of its later edits.
- `sample:{community}:{bucket}`: of the contents of one bucket of time those with the smallest
  hashes, which is a fair sample and the same in any order (Bar-Yossef et al. 2002, "Counting
  distinct elements in a data stream"); scores are hash * 2 + whether it is hostile.
- `baseline:{community}`: a hash of closed bucket to `uploads hostile`, made of its sample when it
  is first asked for. Nothing is added to a bucket that is closed.

Keys of another type (somebody's mistake) are left alone and count as empty.
"""

from __future__ import annotations

from typing import Final

SLOT_MS: Final = 10_000
CALM: Final = 4
"""Marks of one thread and slot that are kept, hostile or not."""
HOT: Final = 8
"""Marks of one thread and slot that are kept, should the further ones be hostile."""
REVISIONS: Final = 8
"""Edits of a content that are kept."""

SCRIPT: Final = (
    """
local short, writes = tonumber(ARGV[1]), tonumber(ARGV[3])
for i = 1, writes do
  redis.call('SET', KEYS[i], ARGV[6 + i], 'EX', i <= short and ARGV[2] or ARGV[4])
end
local rows = {}
if #KEYS > writes then rows = redis.call('MGET', unpack(KEYS, writes + 1)) end

local marks, questions, c = unpack(cmsgpack.unpack(ARGV[5]))
local now = tonumber(ARGV[6])
if now == 0 then
  local t = redis.call('TIME')
  now = t[1] * 1000 + math.floor(t[2] / 1000)
end
local function whole(x) return string.format('%.0f', x) end
local function digest(id, revision)
  if revision ~= 0 then id = id .. '\\n' .. whole(revision) end
  return string.sub(redis.sha1hex(id), 1, 12)
end
local function sane(reply) return type(reply) ~= 'table' or not reply.err end

local function mark_content(id, revision, toxicity)
  local key = 'context:' .. id
  local old = redis.pcall('GET', key)
  if not sane(old) then return end
  if old then
    local last = tonumber(string.match(old, ':(%d+),$') or -1)
    if revision <= last then return end
    local _, count = string.gsub(old, ',', '')
    if count >= REVISIONS then old = string.gsub(old, '^[^,]*,', '', 1) end
  elseif toxicity < c.floor then
    return
  end
  local new = whole(now) .. ':' .. whole(toxicity) .. ':' .. whole(revision) .. ','
  redis.call('SET', key, (old or '') .. new, 'EX', c.content_s)
end

local function mark_thread(thread, name, toxicity)
  local key = 'thread:' .. thread
  local count = redis.pcall('ZCOUNT', key, whole((now - now % SLOT_MS) * 1024), '+inf')
  if not sane(count) then return end
  if count >= (toxicity >= c.hostile and HOT or CALM) then return end
  local added = redis.call('ZADD', key, 'NX', whole(now * 1024 + toxicity), name)
  if count == 0 and added == 1 then
    redis.call('ZREMRANGEBYSCORE', key, '-inf', whole((now - c.keep) * 1024))
    redis.call('PEXPIRE', key, c.keep + SLOT_MS)
  end
end

local function mark_community(community, at, name, toxicity)
  local key = 'sample:' .. community .. ':' .. whole(math.floor(at / c.bucket))
  local hash = tonumber(name, 16)
  local last = redis.pcall('ZRANGE', key, c.sample - 1, c.sample - 1, 'WITHSCORES')
  if not sane(last) or (last[2] and hash * 2 > tonumber(last[2])) then return end
  local score = hash * 2 + (toxicity >= c.hostile and 1 or 0)
  if redis.call('ZADD', key, 'NX', whole(score), name) == 1 then
    if last[2] then
      redis.call('ZREMRANGEBYRANK', key, c.sample, -1)
    else
      redis.call('PEXPIRE', key, c.bucket * (c.buckets + 2))
    end
  end
end

for _, mark in ipairs(marks) do
  local id, revision, at, community, thread, toxicity = unpack(mark)
  if now - at <= c.content_s * 1000 then mark_content(id, revision, toxicity) end
  if math.abs(now - at) <= c.late and community .. thread ~= '' then
    local name = digest(id, revision)
    if thread ~= '' then mark_thread(thread, name, toxicity) end
    if community ~= '' then mark_community(community, at, name, toxicity) end
  end
end

local function of_thread(thread, at, own_id, own_revision)
  local own = own_id ~= '' and digest(own_id, own_revision)
  local from, to = whole((at - c.window + 1) * 1024), whole(at * 1024 + 1023)
  local found = redis.pcall('ZRANGEBYSCORE', 'thread:' .. thread, from, to, 'WITHSCORES')
  local heat, posts = 0, 0
  if sane(found) then
    for i = 1, #found, 2 do
      if found[i] ~= own then
        local score = tonumber(found[i + 1])
        local toxicity = score % 1024
        posts = posts + 1
        if toxicity >= c.hostile then
          local age = at - (score - toxicity) / 1024
          heat = heat + toxicity / 1000 * 2 ^ (-age / c.half_life)
        end
      end
    end
  end
  return string.format('%.4f %d', heat, posts)
end

local function closed(community, bucket)
  local key = 'sample:' .. community .. ':' .. whole(bucket)
  local found = redis.pcall('ZRANGE', key, 0, -1, 'WITHSCORES')
  if not sane(found) or #found == 0 or now < (bucket + 1) * c.bucket + c.late then return end
  local count, hostile = #found / 2, 0
  for i = 2, #found, 2 do hostile = hostile + tonumber(found[i]) % 2 end
  local uploads = count
  if count >= c.sample then uploads = (count - 1) * 2 ^ 49 / tonumber(found[#found]) end
  local row = string.format('%.0f %.3f', uploads, uploads * hostile / count)
  redis.call('HSET', 'baseline:' .. community, whole(bucket), row)
  redis.call('PEXPIRE', 'baseline:' .. community, c.bucket * (c.buckets + 2))
  redis.call('DEL', key)
  return row
end

local function of_community(community, last)
  local key, names = 'baseline:' .. community, {}
  for bucket = last - c.buckets + 1, last do names[#names + 1] = whole(bucket) end
  local found = redis.pcall('HMGET', key, unpack(names))
  if not sane(found) then return '0 0' end
  local uploads, hostile, fresh = 0, 0, false
  for i, name in ipairs(names) do
    local row = found[i]
    if not row then
      row = closed(community, tonumber(name))
      fresh = fresh or row
    end
    if row then
      local some, bad = string.match(row, '^(%S+) (%S+)$')
      uploads, hostile = uploads + (tonumber(some) or 0), hostile + (tonumber(bad) or 0)
    end
  end
  if fresh then
    for _, name in ipairs(redis.call('HKEYS', key)) do
      if tonumber(name) < last - c.buckets - 1 then redis.call('HDEL', key, name) end
    end
  end
  return string.format('%.0f %.3f', uploads, hostile)
end

local answers = {}
for i, question in ipairs(questions) do
  if #question == 2 then
    answers[i] = of_community(unpack(question))
  else
    answers[i] = of_thread(unpack(question))
  end
end
return {rows, answers}
""".replace("SLOT_MS", str(SLOT_MS))
    .replace("HOT", str(HOT))
    .replace("CALM", str(CALM))
    .replace("REVISIONS", str(REVISIONS))
)
"""KEYS: rows to write, then rows to read. ARGV: number of rows of contents to write, their TTL in
seconds, number of all rows to write, TTL of the others, msgpack of [marks, questions, settings],
the time in ms since the epoch (0: the server's own), and the values to write.

A question is [community, last bucket] or [thread, as of, own content id, its revision]. Answers are
`uploads hostile` and `heat posts`."""
