/// The policy: what to do about each category on each rail, what to tell the user; and the verdict it comes to.
///
/// A policy is plain data, checked where the bundle was made, and once more as it is read.

/// The guard could not judge.
public struct GuardError: Error, CustomStringConvertible {
    public let description: String

    public init(_ description: String) {
        self.description = description
    }
}

/// The text is in a script that the guard cannot read: no failure of its own.
public struct UnreadableText: Error, CustomStringConvertible {
    public let description = "the text is in a script that the guard cannot read; write it in another, or in Latin letters"
}

/// Which side is checked: the user's text or the model's.
public enum Rail: String, Sendable { case input, output }

/// What is done about a text. allow; warn: it passes, and the caller is told; redact: it passes without the findings;
/// replace or block: it does not.
public enum Action: String, Sendable {
    case allow, warn, redact, replace, block

    fileprivate var rank: Int {
        switch self {
        case .allow: return 0
        case .warn: return 1
        case .redact: return 2
        case .replace, .block: return 3
        }
    }
}

/// Categories that are no hazard of the classifier.
enum Category {
    static let jailbreak = "jailbreak"
    static let blocklist = "blocklist"
    static let pii = "pii"
    static let unread = "unread"
}

/// What the guard decided about one text.
public struct Verdict: Sendable {
    public internal(set) var action: Action
    public let rail: Rail
    /// S1 to S13, jailbreak, blocklist, pii or unread; nil when allowed, or when the guard failed.
    public internal(set) var category: String?
    /// The probability behind the decision, 0 to 1.
    public internal(set) var score = 0.0
    /// The characters (code points) of the text, as given, that this score was given to.
    public internal(set) var span = (start: 0, end: 0)
    /// What the user reads instead of the text, when it does not pass.
    public internal(set) var message = ""
    /// True when the guard could not judge and therefore blocked.
    public internal(set) var failed = false
    /// True when the score reached the hard threshold, at which a stream stops at once.
    public internal(set) var hard = false
    /// How long the check took; of an answer, all its checks together.
    public internal(set) var milliseconds = 0.0
    /// In shadow mode what the action would have been, if not allow.
    public internal(set) var would: Action?
    /// Personal data in the text, kind and place, where the policy asks for them.
    public internal(set) var findings: [Finding] = []

    init(_ action: Action, _ rail: Rail) {
        (self.action, self.rail) = (action, rail)
    }

    /// Whether the text must not pass.
    public var isBlocked: Bool { action == .block || action == .replace }

    /// Return the verdict that counts among several, the first of equals; throws where there is none, for nobody has judged.
    static func worst(_ verdicts: [Verdict]) throws -> Verdict {
        guard var most = verdicts.first else { throw GuardError("nobody has judged the text") }
        for next in verdicts.dropFirst() where next.weight > most.weight { most = next }
        return most
    }

    private var weight: (Int, Int, Int, Double) { (action.rank, failed ? 1 : 0, hard ? 1 : 0, score) }
}

/// What to do about one category; without a threshold of its own the calibrated one of the level counts.
struct CategoryPolicy: Sendable {
    var action = Action.block
    var input, output: Double?
    var message = "blocked"

    init() {}

    init(_ part: Part) throws {
        action = try part["action"].action(of: [.allow, .warn, .replace, .block])
        (input, output) = (try part["input"].threshold(), try part["output"].threshold())
        message = try part["message"].string()
    }
}

/// A whole policy.
public struct Policy: Sendable {
    let level: String
    let hard: Double
    public let shadow: Bool
    let piiInput, piiOutput: Action
    let piiMessage: String
    let allow, block: [Text]
    private let language: String
    private let categories: [String: CategoryPolicy]
    private let messages: [String: [String: String]]
    private static let fallback = "en"

    /// Read a policy, whole. Throws GuardError with the name of what is missing.
    public init(_ json: Json) throws {
        let part = Part(value: json, name: "policy")
        let pii = part["pii"]
        (level, language) = (try part["level"].string(), try part["language"].string())
        (hard, shadow) = (try part["hard"].number(), try part["shadow"].bool())
        guard hard >= 0, hard <= 1 else { throw GuardError("the guard's policy.hard is no share; make the bundle again") }
        piiInput = try pii["input"].action(of: [.allow, .warn, .redact, .block])
        piiOutput = try pii["output"].action(of: [.allow, .warn, .redact, .block])
        piiMessage = try pii["message"].string()
        (allow, block) = (try part["allow"].texts(), try part["block"].texts())
        categories = try part["categories"].named { try CategoryPolicy($0) }
        messages = try part["messages"].named { language in try language.named { try $0.string() } }
    }

    /// Return what to do about a category. A framing alone harms nobody: what it asks for is judged by itself.
    func rule(_ category: String) -> CategoryPolicy {
        if let own = categories[category] { return own }
        var rule = CategoryPolicy()
        if category == Category.jailbreak { rule.action = .warn }
        return rule
    }

    /// Return a message in the policy's language, or in English; throws where there is neither.
    func say(_ name: String) throws -> String {
        if let said = messages[language]?[name], !said.isEmpty { return said }
        guard let said = messages[Self.fallback]?[name] else { throw GuardError("the policy has no message \(name)") }
        return said
    }
}

extension Part {
    fileprivate func action(of known: [Action]) throws -> Action {
        guard let action = Action(rawValue: try string()), known.contains(action) else {
            throw GuardError("the guard's \(name) is no action; make the bundle again")
        }
        return action
    }

    fileprivate func threshold() throws -> Double? { value == .null ? nil : try number() }

    /// A table by names.
    func named<Value>(_ read: (Part) throws -> Value) throws -> [String: Value] {
        Dictionary(uniqueKeysWithValues: try object().map { ($0.string, try read($1)) })
    }
}
