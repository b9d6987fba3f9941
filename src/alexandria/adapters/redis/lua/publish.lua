-- Put up a worker's report, drop those that have expired, and leave the word of all in one plain key.
local STATUS, WORKERS = KEYS[1], KEYS[2]
local report = cjson.decode(ARGV[2])

local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000000 + tonumber(time[2])
end

-- The word outlives its report by the time until a worker that says nothing new runs this again.
local grace_us = report.grace_us
report.grace_us = nil

-- The report in an entry, or nil if somebody made it unreadable: that must not stop the others.
local function report_in(text)
  local readable, entry = pcall(cjson.decode, text)
  local whole = readable and type(entry) == 'table' and type(entry.status) == 'string'
    and tonumber(entry.seen_us) and tonumber(entry.until_us) and tonumber(entry.number)
  return whole and entry or nil
end

local last, heard = 0, {}
local entries = redis.call('HGETALL', WORKERS)
for index = 1, #entries, 2 do
  local worker_id, other = entries[index], report_in(entries[index + 1])
  local own = worker_id == report.worker_id
  if not other or own and report.status == 'Offline' or not own and tonumber(other.until_us) <= now then
    redis.call('HDEL', WORKERS, worker_id)
  elseif not own then
    heard[#heard + 1] = other
  end
  last = math.max(last, other and tonumber(other.number) or 0)
end

local number = 0
if report.status ~= 'Offline' then
  number = last + 1
  report.number = number
  -- As text: cjson writes 14 digits of a number, and these have 16.
  report.seen_us, report.until_us = string.format('%.0f', now), string.format('%.0f', now + report.ttl_us)
  redis.call('HSET', WORKERS, report.worker_id, cjson.encode(report))
  heard[#heard + 1] = report
end

-- Busy before idle, then the later one.
local function later(a, b)
  if (a.status == 'Idle') ~= (b.status == 'Idle') then
    return b.status == 'Idle'
  end
  local first, second = tonumber(a.seen_us), tonumber(b.seen_us)
  if first ~= second then
    return first > second
  end
  return a.number > b.number
end

table.sort(heard, later)
local word = heard[1]
if word then
  local milliseconds = math.ceil((tonumber(word.until_us) - now + grace_us) / 1000)
  redis.call('SET', STATUS, word.status, 'PX', math.max(1, milliseconds))
else
  redis.call('DEL', STATUS)
end
return number
