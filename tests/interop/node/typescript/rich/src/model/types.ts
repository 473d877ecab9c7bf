/** Texts with a meaning. */
export type Id = string;
export type Cents = number;
export type Tags = string[];
export type Owner = Id | `org:${string}`;
export type Side = 'buy' | 'sell';
export type Callback = (error?: Error) => void;

export interface Shaped {
    readonly kind: string;
}

export enum Level {
    Low,
    Middle = 1 << 2,
    High = Middle + 1,
}

export enum Colour {
    Red = 'red',
    Blue = 'blue',
}

export const enum Weight {
    Light = 1,
    Heavy = 10,
}

export namespace Units {
    export const scale = 100;
    export class Measure {
        public constructor(public readonly amount: number) {}
    }
}
