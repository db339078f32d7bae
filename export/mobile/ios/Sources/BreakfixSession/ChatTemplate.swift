/// From a conversation to the text that the model reads, by `chat.json`: the model's own template in plain pieces.
///
/// Special tokens inside a message are not markup but text somebody typed; a space takes their place, so that nobody can close
/// a turn and open another one from inside a message. It knows no model.

import BreakfixGuard

public struct ChatTemplate: Sendable {
    /// The version of chat.json that this reads.
    private static let format = 1

    /// The most tokens of question and answer together.
    public let context: Int
    /// The tokens that end an answer.
    public let ends: Set<Int>
    private let bare, answer: String
    private let around: [Message.Role: (before: String, after: String)]
    private let specials: [Text]

    /// Read chat.json. Throws BundleError where it is not whole.
    public init(_ bytes: [UInt8]) throws {
        let file = try Json(bytes)
        guard file["format"].int == Self.format, let bare = file["bare"].string, let answer = file["answer"].string,
            let specials = file["specials"].list?.map(\.text), !specials.contains(nil), let context = file["context"].int,
            let ends = file["ends"].list?.map(\.int), !ends.contains(nil), context > 0
        else { throw BundleError("chat.json is damaged or of another version; export the bundle again") }
        (self.bare, self.answer, self.context) = (bare, answer, context)
        self.ends = Set(ends.compactMap { $0 })
        self.specials = specials.compactMap { $0 }.filter { !$0.isEmpty }
        var around: [Message.Role: (before: String, after: String)] = [:]
        for role in [Message.Role.system, .user, .assistant] {
            let pair = file[role.rawValue].list?.compactMap(\.string) ?? []
            guard pair.count == 2 else { throw BundleError("chat.json has no \(role.rawValue) turn; export the bundle again") }
            around[role] = (pair[0], pair[1])
        }
        self.around = around
    }

    /// Return the text of a conversation, ready for the model's answer.
    public func render(_ conversation: [Message]) -> String {
        let turns = conversation.map { message in
            (around[message.role]?.before ?? "") + cleaned(message.content) + (around[message.role]?.after ?? "")
        }
        return (conversation.first?.role == .system ? "" : bare) + turns.joined() + answer
    }

    /// Put a space in place of each special token, again until none is left.
    private func cleaned(_ message: String) -> String {
        var text = Text(message)
        while let next = withoutSpecials(text) { text = next }
        return text.string
    }

    private func withoutSpecials(_ text: Text) -> Text? {
        var (said, at, found) = (Text(), 0, false)
        while at < text.count {
            if let special = specials.first(where: { text.holds($0, at: at) }) {
                said.append(0x20)
                at += special.count
                found = true
            } else {
                said.append(text[at])
                at += 1
            }
        }
        return found ? said : nil
    }
}
