/// Expressions over code points: the part of Python's `re` that the guard is written in, so that its expressions can be read
/// beside Python's and find what they find there.
///
/// Foundation's expressions count UTF-16 units and go by another `\w`. Written here are: literals, classes, groups that catch or
/// do not, alternatives, greedy and possessive repeats, looks ahead and behind (of one width), `\1`, `\b`, `^` and `$` (the very
/// ends). An expression is a constant of this module: one that cannot be read is a mistake in it and ends the program.

struct Pattern {
    /// One step of the program that a `Matcher` runs.
    enum Step {
        case character(UInt32)
        case any
        case one(Int)
        /// A class, so often; `possessive` gives nothing back.
        case run(of: Int, least: Int, most: Int, possessive: Bool)
        case fork(first: Int, second: Int)
        case jump(Int)
        case save(Int)
        case reset(Int)
        /// The head of a repeated group: how often is counted in a slot.
        case loop(slot: Int, least: Int, most: Int, exit: Int)
        case start
        case end
        case boundary
        case same(group: Int)
        /// What follows up to `match` is looked at from `width` characters before, and the program goes on at `next`.
        case look(width: Int, negated: Bool, next: Int)
        case atomic(next: Int)
        case match
    }

    private(set) var steps: [Step] = []
    private(set) var classes: [CharacterClass] = []
    private(set) var groups = 0
    private(set) var slots = 0
    /// Which characters a match may begin with, where that is known.
    private(set) var firsts: Firsts

    init(_ source: String, ascii: Bool = false, ignoringCase: Bool = false) {
        var parser = PatternParser(source, ascii: ascii, ignoringCase: ignoringCase)
        let tree = parser.whole()
        firsts = tree.firsts(parser.classes)
        classes = parser.classes
        groups = parser.groups
        slots = 2 * (groups + 1)
        emit(tree)
        steps.append(.match)
    }

    private mutating func emit(_ node: PatternNode) {
        switch node {
        case .character(let point): steps.append(.character(point))
        case .any: steps.append(.any)
        case .one(let set): steps.append(.one(set))
        case .start: steps.append(.start)
        case .end: steps.append(.end)
        case .boundary: steps.append(.boundary)
        case .same(let group): steps.append(.same(group: group))
        case .sequence(let nodes): nodes.forEach { emit($0) }
        case .choice(let nodes): emit(choice: nodes)
        case .group(let number, let inner):
            steps.append(.save(2 * number))
            emit(inner)
            steps.append(.save(2 * number + 1))
        case .look(let ahead, let negated, let inner):
            emit(inner, behind: .look(width: ahead ? 0 : inner.width, negated: negated, next: 0))
        case .repeated(let inner, let least, let most, let possessive):
            emit(inner, least: least, most: most, possessive: possessive)
        }
    }

    /// Emit a part that runs by itself, behind the step that says how.
    private mutating func emit(_ inner: PatternNode, behind head: Step) {
        let at = steps.count
        steps.append(head)
        emit(inner)
        steps.append(.match)
        switch head {
        case .look(let width, let negated, _): steps[at] = .look(width: width, negated: negated, next: steps.count)
        default: steps[at] = .atomic(next: steps.count)
        }
    }

    private mutating func emit(choice nodes: [PatternNode]) {
        var ends: [Int] = []
        for (number, node) in nodes.enumerated() {
            let fork = steps.count
            let last = number == nodes.count - 1
            if !last { steps.append(.fork(first: 0, second: 0)) }
            emit(node)
            if last { break }
            ends.append(steps.count)
            steps.append(.jump(0))
            steps[fork] = .fork(first: fork + 1, second: steps.count)
        }
        for end in ends { steps[end] = .jump(steps.count) }
    }

    private mutating func emit(_ inner: PatternNode, least: Int, most: Int, possessive: Bool) {
        if case .one(let set) = inner {
            steps.append(.run(of: set, least: least, most: most, possessive: possessive))
        } else if possessive {
            emit(.repeated(inner, least: least, most: most, possessive: false), behind: .atomic(next: 0))
        } else if least == 0 && most == 1 {
            let fork = steps.count
            steps.append(.fork(first: 0, second: 0))
            emit(inner)
            steps[fork] = .fork(first: fork + 1, second: steps.count)
        } else {
            let slot = slots
            slots += 1
            steps.append(.reset(slot))
            let head = steps.count
            steps.append(.loop(slot: slot, least: least, most: most, exit: 0))
            emit(inner)
            steps.append(.jump(head))
            steps[head] = .loop(slot: slot, least: least, most: most, exit: steps.count)
        }
    }
}

/// Which characters a match may begin with: bits for ASCII, and whether others may.
struct Firsts {
    var low: (UInt64, UInt64) = (0, 0)
    var others = false
    /// Whether the part may match nothing, so that what follows counts as well.
    var passes = false

    static let all = Firsts(low: (.max, .max), others: true, passes: false)

    @inline(__always)
    func allows(_ point: UInt32) -> Bool {
        if point < 64 { return low.0 >> UInt64(point) & 1 == 1 }
        return point < 128 ? low.1 >> UInt64(point - 64) & 1 == 1 : others
    }

    func with(_ more: Firsts) -> Firsts {
        Firsts(low: (low.0 | more.low.0, low.1 | more.low.1), others: others || more.others, passes: passes || more.passes)
    }
}
