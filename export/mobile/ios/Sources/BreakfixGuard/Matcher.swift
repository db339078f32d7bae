/// Finds an expression in a text, trying what Python's `re` would try, in the same order.
///
/// What is still to be tried lies on a list of its own and not on the program's stack, which is short on a phone's threads.

/// Where an expression was found, and its groups.
struct Match {
    let start: Int
    let end: Int
    private let text: Text
    private let groups: [Int]

    fileprivate init(text: Text, slots: ArraySlice<Int>, start: Int, end: Int) {
        (self.text, self.start, self.end, groups) = (text, start, end, Array(slots))
    }

    /// What was found.
    var said: Text { text.slice(start, end) }

    func span(_ group: Int) -> (start: Int, end: Int)? {
        let (start, end) = (groups[2 * group], groups[2 * group + 1])
        return start >= 0 && end >= start ? (start, end) : nil
    }

    /// What a group holds; nothing where it took no part.
    func group(_ number: Int) -> Text { span(number).map { text.slice($0.start, $0.end) } ?? [] }
}

extension Pattern {
    /// Return the matches in a text, in order and without overlaps.
    func matches(_ text: Text, from start: Int = 0) -> [Match] { found(text, from: start, most: .max) }

    /// Return the first match from a place on, or nil.
    func first(_ text: Text, from start: Int) -> Match? { found(text, from: start, most: 1).first }

    private func found(_ text: Text, from start: Int, most: Int) -> [Match] {
        var found: [Match] = []
        let matcher = Matcher(self)
        text.withUnsafeBufferPointer { points in
            var at = start
            while at <= points.count && found.count < most {
                guard at == points.count || firsts.allows(points[at]), let end = matcher.match(points, at: at) else {
                    at += 1
                    continue
                }
                found.append(Match(text: text, slots: matcher.slots[0..<2 * (groups + 1)], start: at, end: end))
                at = max(end, at + 1)
            }
        }
        return found
    }

    /// Return the match that begins at a place, or nil.
    func match(_ text: Text, at place: Int = 0) -> Match? {
        let matcher = Matcher(self)
        return text.withUnsafeBufferPointer { points in
            guard let end = matcher.match(points, at: place) else { return nil }
            return Match(text: text, slots: matcher.slots[0..<2 * (groups + 1)], start: place, end: end)
        }
    }

    /// Tell whether it is anywhere in a text.
    func isFound(in text: Text) -> Bool {
        let matcher = Matcher(self)
        return text.withUnsafeBufferPointer { points in
            (0...points.count).contains { at in
                (at == points.count || firsts.allows(points[at])) && matcher.match(points, at: at) != nil
            }
        }
    }

    /// Return the text with each match replaced.
    func replacing(_ text: Text, _ said: (Match) -> Text) -> Text {
        var (pieces, at) = (Text(), 0)
        for match in matches(text) {
            pieces += text[at..<match.start]
            pieces += said(match)
            at = match.end
        }
        return at == 0 ? (pieces.isEmpty ? text : pieces + text) : pieces + text[at...]
    }
}

private final class Matcher {
    private enum Left {
        /// Go on at a step and a place.
        case branch(step: Int, at: Int)
        /// Go on at a step and ever earlier places.
        case back(step: Int, least: Int, at: Int)
        case restore(slot: Int, value: Int)
    }

    private let steps: [Pattern.Step]
    private let classes: [CharacterClass]
    private(set) var slots: [Int]
    private var left: [Left] = []

    init(_ pattern: Pattern) {
        (steps, classes) = (pattern.steps, pattern.classes)
        slots = Array(repeating: -1, count: pattern.slots)
    }

    /// Return where a match that begins at a place ends, or nil.
    func match(_ text: UnsafeBufferPointer<UInt32>, at place: Int) -> Int? {
        for slot in slots.indices { slots[slot] = -1 }
        left.removeAll(keepingCapacity: true)
        return run(text, step: 0, at: place)
    }

    private func set(_ slot: Int, _ value: Int) {
        left.append(.restore(slot: slot, value: slots[slot]))
        slots[slot] = value
    }

    private func run(_ text: UnsafeBufferPointer<UInt32>, step: Int, at place: Int) -> Int? {
        let base = left.count
        var (step, at) = (step, place)
        while true {
            var failed = false
            switch steps[step] {
            case .character(let point): failed = at >= text.count || text[at] != point
                (step, at) = (step + 1, at + 1)
            case .any: failed = at >= text.count || text[at] == 0x0a
                (step, at) = (step + 1, at + 1)
            case .one(let set): failed = at >= text.count || !classes[set].contains(text[at])
                (step, at) = (step + 1, at + 1)
            case .run(let set, let least, let most, let possessive):
                let first = at
                let last = most < text.count - at ? at + most : text.count
                while at < last, classes[set].contains(text[at]) { at += 1 }
                failed = at - first < least
                step += 1
                if !failed, !possessive, at - first > least { left.append(.back(step: step, least: first + least, at: at)) }
            case .fork(let first, let second):
                left.append(.branch(step: second, at: at))
                step = first
            case .jump(let next): step = next
            case .save(let slot):
                set(slot, at)
                step += 1
            case .reset(let slot):
                set(slot, 0)
                step += 1
            case .loop(let slot, let least, let most, let exit):
                let count = slots[slot]
                if count >= most {
                    step = exit
                } else {
                    // What is tried later must find the count as it is now: it is put back before that.
                    if count >= least { left.append(.branch(step: exit, at: at)) }
                    set(slot, count + 1)
                    step += 1
                }
            case .start:
                failed = at != 0
                step += 1
            case .end:
                failed = at != text.count
                step += 1
            case .boundary:
                let before = at > 0 && Characters.isWord(text[at - 1])
                failed = before == (at < text.count && Characters.isWord(text[at]))
                step += 1
            case .same(let group):
                let (from, to) = (slots[2 * group], slots[2 * group + 1])
                failed = from < 0 || to < from || at + to - from > text.count
                if !failed { failed = (0..<to - from).contains { text[from + $0] != text[at + $0] } }
                (step, at) = (step + 1, failed ? at : at + to - from)
            case .look(let width, let negated, let next):
                failed = look(text, step: step + 1, at: at - width) == negated
                step = next
            case .atomic(let next):
                if let end = alone(text, step: step + 1, at: at) { (step, at) = (next, end) } else { failed = true }
            case .match: return at
            }
            if failed {
                guard let (next, place) = resume(above: base) else { return nil }
                (step, at) = (next, place)
            }
        }
    }

    /// Return what is to be tried next, putting back the slots as they were then.
    private func resume(above base: Int) -> (step: Int, at: Int)? {
        while left.count > base {
            switch left.removeLast() {
            case .restore(let slot, let value): slots[slot] = value
            case .branch(let step, let at): return (step, at)
            case .back(let step, let least, let at):
                if at - 1 > least { left.append(.back(step: step, least: least, at: at - 1)) }
                return (step, at - 1)
            }
        }
        return nil
    }

    /// Run a part from which nothing is given back; what it caught stays until something before it is tried otherwise.
    private func alone(_ text: UnsafeBufferPointer<UInt32>, step: Int, at place: Int) -> Int? {
        let base = left.count
        guard let end = run(text, step: step, at: place) else { return nil }
        let kept = left[base...].filter { if case .restore = $0 { return true } else { return false } }
        left.replaceSubrange(base..., with: kept)
        return end
    }

    private func look(_ text: UnsafeBufferPointer<UInt32>, step: Int, at place: Int) -> Bool {
        place >= 0 && alone(text, step: step, at: place) != nil
    }
}
