-- Put before every script of the queue. KEYS are the same for all: they are declared, none is made up.
local QUEUE, HISTORY, JOBS, ENDED, TOKEN = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
-- ARGV: time in microseconds or '', rules, arguments of the call, record for the history or ''.
local rules, call, record = cjson.decode(ARGV[2]), cjson.decode(ARGV[3]), ARGV[4]

local function server_time()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000000 + tonumber(time[2])
end

local now = tonumber(ARGV[1]) or server_time()

-- cjson writes 14 digits of a number; microseconds have 16, so they are kept as text.
local function whole(number)
  return string.format('%.0f', number)
end

local function reply(answer)
  return cjson.encode(answer)
end

-- 2026-05-01T12:00:00.250000+00:00, by the algorithm `civil_from_days` of Howard Hinnant.
local function iso(us)
  local seconds, micros = math.floor(us / 1000000), us % 1000000
  local days, rest = math.floor(seconds / 86400) + 719468, seconds % 86400
  local era = math.floor(days / 146097)
  local of_era = days - era * 146097
  local year_of_era = math.floor(
    (of_era - math.floor(of_era / 1460) + math.floor(of_era / 36524) - math.floor(of_era / 146096)) / 365
  )
  local of_year = of_era - (365 * year_of_era + math.floor(year_of_era / 4) - math.floor(year_of_era / 100))
  local shifted = math.floor((5 * of_year + 2) / 153)
  local day = of_year - math.floor((153 * shifted + 2) / 5) + 1
  local month = shifted < 10 and shifted + 3 or shifted - 9
  local year = year_of_era + era * 400 + (month <= 2 and 1 or 0)
  return string.format('%04d-%02d-%02dT%02d:%02d:%02d.%06d+00:00', year, month, day,
    math.floor(rest / 3600), math.floor(rest / 60) % 60, rest % 60, micros)
end

-- Microseconds since 1970 as text, up to the year 5138.
local function is_moment(text)
  return type(text) == 'string' and #text <= 17 and string.match(text, '^%-?%d+$') ~= nil
end

local function is_count(number)
  return type(number) == 'number' and number >= 0 and number < 1e15 and number == math.floor(number)
end

local function matches(text, pattern)
  return type(text) == 'string' and string.match(text, pattern) ~= nil
end

local STATES = {queued = true, running = true, complete = true, failed = true, skipped = true, cancelled = true}
local PHASES = {cloning = true, parsing = true, training = true, uploading = true}

local function is_claim(job)
  local fraction = tonumber(job.fraction or 0)
  return is_moment(job.started_us) and is_moment(job.lease_us) and is_count(job.token)
    and type(job.worker_id) == 'string' and (job.phase == nil or PHASES[job.phase] ~= nil)
    and fraction ~= nil and fraction >= 0 and fraction <= 1
end

-- Whether an entry is one that these scripts may have written: they and the programs count on what is in it.
local function is_sound(job)
  return type(job.item) == 'string' and STATES[job.state] ~= nil and matches(job.id, '^[ -~]+$') and #job.id <= 100
    and matches(job.repo, '^[%l%d.-]+/[%w._~/-]+$') and (job.ref == '' or matches(job.ref, '^[%w_][%w._/+@#-]*$'))
    and is_moment(job.submitted_us) and is_count(job.ttl_s) and job.ttl_s > 0 and is_count(job.attempt)
    and (job.due_us == nil or is_moment(job.due_us)) and (job.state ~= 'running' or is_claim(job))
end

-- The job in the entry of `id`, or nil if somebody made it unreadable: that must not stop the others.
local function job_in(text, id)
  local readable, job = pcall(cjson.decode, text or '')
  if readable and type(job) == 'table' and is_sound(job) and job.id == id then
    return job
  end
  return nil
end

local function save(job)
  redis.call('HSET', JOBS, job.id, cjson.encode(job))
end

local function id_of(text)
  local readable, entry = pcall(cjson.decode, text)
  if readable and type(entry) == 'table' then
    return entry.job_id
  end
  return string.match(text, '"job_id":%s*"([^"\\]+)"')
end

-- Forget ended jobs whose record somebody made unreadable or took out.
local function sweep()
  if redis.call('HLEN', ENDED) <= rules.history_length then
    return
  end
  local known = {}
  for _, text in ipairs(redis.call('LRANGE', HISTORY, 0, -1)) do
    known[id_of(text) or ''] = true
  end
  for _, id in ipairs(redis.call('HKEYS', ENDED)) do
    if not known[id] then
      redis.call('HDEL', ENDED, id)
    end
  end
end

-- Put a record at the head; what leaves the history at its end takes its ended job along.
local function add_to_history(text)
  local length = redis.call('LPUSH', HISTORY, text)
  for _ = rules.history_length + 1, length do
    local id = id_of(redis.call('RPOP', HISTORY))
    if not id or redis.call('HDEL', ENDED, id) == 0 then
      sweep()
    end
  end
end

-- Sort jobs by a time, then by id.
local function by(name)
  return function(a, b)
    local first, second = tonumber(a[name]), tonumber(b[name])
    if first ~= second then
      return first < second
    end
    return a.id < b.id
  end
end

-- Active jobs by id, and by the element of the list that stands for them; `line` is that list.
local jobs, of_item, line = {}, {}, {}

local function to_end(job)
  redis.call('RPUSH', QUEUE, job.item)
  table.insert(line, job.item)
end

local function read_jobs()
  local entries = redis.call('HGETALL', JOBS)
  for index = 1, #entries, 2 do
    local id = entries[index]
    local job = job_in(entries[index + 1], id)
    if job and (job.state == 'queued' or job.state == 'running') then
      jobs[id], of_item[job.item] = job, job
    else
      redis.call('HDEL', JOBS, id)
      add_to_history(cjson.encode({
        job_id = id, repo_url = '', status = 'failed', timestamp = iso(now),
        reason = 'its entry in ' .. JOBS .. ' could not be read',
      }))
    end
  end
end

-- Read the whole queue; return the elements of the list that this program did not write. People write there, too:
-- a copy of an element is taken out, and a job that waits and has none goes to the end.
local function load()
  read_jobs()
  local foreign, in_line, missing = {}, {}, {}
  for _, item in ipairs(redis.call('LRANGE', QUEUE, 0, -1)) do
    local job = of_item[item]
    if not job then
      -- What we accept is ASCII; other bytes may not survive the way to the client.
      foreign[#foreign + 1] = {redis.sha1hex(item), (string.gsub(item, '[\128-\255]', '?'))}
    elseif in_line[item] or job.state ~= 'queued' or job.due_us then
      redis.call('LREM', QUEUE, -1, item)
    else
      in_line[item] = true
      line[#line + 1] = item
    end
  end
  for _, job in pairs(jobs) do
    if job.state == 'queued' and not job.due_us and not in_line[job.item] then
      missing[#missing + 1] = job
    end
  end
  table.sort(missing, by('submitted_us'))
  for _, job in ipairs(missing) do
    to_end(job)
  end
  return #foreign > 0 and reply({foreign = foreign}) or nil
end

local function leave_line(job)
  redis.call('LREM', QUEUE, 1, job.item)
  for index, item in ipairs(line) do
    if item == job.item then
      table.remove(line, index)
      return
    end
  end
end

local function to_front(job)
  redis.call('LPUSH', QUEUE, job.item)
  table.insert(line, 1, job.item)
end

local function delayed()
  local later = {}
  for _, job in pairs(jobs) do
    if job.state == 'queued' and job.due_us then
      later[#later + 1] = job
    end
  end
  table.sort(later, by('due_us'))
  return later
end

-- Jobs that wait, the next to be claimed first.
local function waiting()
  local all = {}
  for _, item in ipairs(line) do
    all[#all + 1] = of_item[item]
  end
  for _, job in ipairs(delayed()) do
    all[#all + 1] = job
  end
  return all
end

local function position(id)
  for index, job in ipairs(waiting()) do
    if job.id == id then
      return index
    end
  end
  return 0
end

local function record_of(id)
  for _, text in ipairs(redis.call('LRANGE', HISTORY, 0, -1)) do
    if id_of(text) == id then
      return text
    end
  end
  return nil
end

local function finish(job, state, text)
  redis.call('HDEL', JOBS, job.id)
  jobs[job.id] = nil
  if job.state == 'queued' and not job.due_us then
    leave_line(job)
  end
  job.state, job.due_us, job.cancel = state, nil, nil
  redis.call('HSET', ENDED, job.id, cjson.encode(job))
  add_to_history(text)
end

local function finish_waiting(job, state, reason)
  finish(job, state, cjson.encode({
    job_id = job.id, repo_url = 'https://' .. job.repo, status = state, timestamp = iso(now), reason = reason,
    attempt = job.attempt,
  }))
end

local function skip_stale()
  for _, job in ipairs(waiting()) do
    local age_us = now - tonumber(job.submitted_us)
    if age_us > job.ttl_s * 1000000 then
      finish_waiting(job, 'skipped', string.format(
        'waited for %.0f s, longer than its time to live of %d s', age_us / 1000000, job.ttl_s))
    end
  end
end

-- The job that the call's claim holds, or nil.
local function held()
  local job = job_in(redis.call('HGET', JOBS, call.id), call.id)
  if job and job.state == 'running' and job.token == call.token then
    return job
  end
  return nil
end

-- Whether the call's claim was ended by one of `events` before: then this is a repetition.
local function ended_by(...)
  local job = job_in(redis.call('HGET', JOBS, call.id) or redis.call('HGET', ENDED, call.id), call.id)
  for _, event in ipairs({...}) do
    if job and job.token == call.token and job.ended_by == event then
      return job
    end
  end
  return nil
end

local function new_job(submitted_us)
  local job = {
    id = call.id, repo = call.repo, ref = call.ref, submitted_us = whole(submitted_us), ttl_s = rules.ttl_s,
    attempt = 0, state = 'queued',
  }
  job.item = cjson.encode({
    job_id = call.id, repo_url = 'https://' .. call.repo, ref = call.ref, submitted_at = iso(submitted_us),
  })
  return job
end

local function active(repo, ref)
  for _, job in pairs(jobs) do
    if job.repo == repo and job.ref == ref then
      return job
    end
  end
  return nil
end

local function view(id)
  local job = jobs[id]
  if job then
    return reply({job = job, position = position(id)})
  end
  job = job_in(redis.call('HGET', ENDED, id), id)
  if not job then
    return reply({error = 'unknown'})
  end
  return reply({job = job, position = 0, record = record_of(id)})
end
